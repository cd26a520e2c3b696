"""Where a model is heard: audio and pictures in TensorBoard."""

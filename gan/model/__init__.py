"""Networks, losses and the training step: everything that knows about learning and nothing about sound."""

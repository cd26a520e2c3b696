"""Waveform, spectrogram, image: everything that knows about sound and nothing about learning."""

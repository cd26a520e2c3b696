"""Phase reconstruction: magnitude to waveform."""

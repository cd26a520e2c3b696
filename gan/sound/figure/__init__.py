"""Pictures of spectrograms that others drew: matplotlib figures, arrays, mel pictures."""

"""What tells how near generated images are to real ones."""

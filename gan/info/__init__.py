"""What a file or folder is, in a few lines, without training, building or writing anything."""

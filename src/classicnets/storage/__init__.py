"""What is kept on disk, whole or not there: weights, checkpoints, and the files under them."""

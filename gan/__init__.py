"""Train GANs on spectrograms and listen to what they make."""

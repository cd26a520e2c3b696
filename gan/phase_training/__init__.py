"""Training of the network that DeepGriffinLim starts from."""

"""The demo's data, a slice of the Fashion-MNIST test set (see NOTICE), and its stream."""

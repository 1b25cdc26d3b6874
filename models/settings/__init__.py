"""Settings of the methods, a file a paper. No TensorFlow here."""

"""Settings of the methods, one file per paper. No TensorFlow here."""

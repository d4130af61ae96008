"""Problems: data, model and loss, one file each."""

"""What Arrow's arrays lack: their memory as numpy arrays, forms that sort and join, murmur3, sizes of values."""

"""Spark's own shuffle files: outputs, their discovery and publication, codecs, the push-based layout."""

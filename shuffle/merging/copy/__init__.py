"""Copying the segments of a plan into the target: one module a method, and the ladder that they stand on.

A method copies a span of the target and answers how far it came (``outcome.py``); it never decides what is tried next.
"""

"""Bias and variance of training methods: many students on disjoint parts of a training set, and what they predict."""

"""Batch augmentation on the device."""

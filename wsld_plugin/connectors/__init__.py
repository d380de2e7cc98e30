"""Connectors bring soft labels to the student's terms."""
from .logit_connector import LogitConnector

__all__ = ['LogitConnector']

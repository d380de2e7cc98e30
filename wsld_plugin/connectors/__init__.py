"""Connectors bring soft labels to the student's terms."""
from .logit_connector import LogitConnector
from .top_classes import TopClasses

__all__ = ['LogitConnector', 'TopClasses']

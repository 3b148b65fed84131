"""Offer the commands that people run between jobs. Only this package imports click."""

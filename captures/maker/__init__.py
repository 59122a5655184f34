"""Builds the captures of this folder, byte for byte the same on any machine."""

"""Heads of detectors, pose estimators and classifiers."""

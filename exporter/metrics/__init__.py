"""Metrics: conversion of a snapshot into Prometheus metric families, and of these into text."""

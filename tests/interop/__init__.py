"""Tests against live peers: Apache Mesos 1.11 (C++ libprocess) and compactor 0.3.0."""

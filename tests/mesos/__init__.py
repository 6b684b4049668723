"""Masters of Mesos: their records, and how they are found and announced in ZooKeeper."""

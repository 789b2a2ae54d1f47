"""CRISP's topics in a ROS graph."""

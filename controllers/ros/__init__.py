"""Names of topics, and converters between their messages and spatial values. Nothing here imports rclpy."""

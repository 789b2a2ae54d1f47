"""The nodes of arm, cameras and teleoperation, and how every process starts and ends rclpy."""

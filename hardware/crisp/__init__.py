"""An arm under CRISP's controllers: the driver, its reference pose, and in `ros` the topics themselves.

May import `hardware.interfaces` and `controllers`; only `hardware.crisp.ros` imports rclpy.
"""

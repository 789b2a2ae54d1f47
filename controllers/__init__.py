"""Pure control of a torque-controlled arm: numpy and pinocchio, no ROS, clock, thread, I/O or logging."""

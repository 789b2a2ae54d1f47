"""What the passivity filter does: policies that would destabilise the arm, and policies that learn with it."""

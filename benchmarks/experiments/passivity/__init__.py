"""Effects of the passivity filter: policies that would destabilise the arm, and policies that learn with it."""

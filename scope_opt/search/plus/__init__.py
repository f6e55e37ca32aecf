"""The paper's scheme with every decision taken by a recursion."""

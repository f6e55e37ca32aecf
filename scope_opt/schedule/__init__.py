"""What a solution is: schedules, their rules, what they cost, what no schedule can beat."""

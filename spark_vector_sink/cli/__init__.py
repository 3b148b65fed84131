"""What people do between jobs, typed in a terminal. The only room that imports click."""

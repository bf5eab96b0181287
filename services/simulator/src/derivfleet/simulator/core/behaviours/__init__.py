"""How contracts of each category go on in the simulated market: what Deriv computes, and tells nobody how.

``behaviour`` says what is asked of each, ``binary`` holds those that pay all or nothing after a duration, and
``registry`` finds the one of a contract. What is known of a category from outside stands in ``derivfleet.deriv``.
"""

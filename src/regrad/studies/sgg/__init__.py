"""The study of SGG: does scaling by gradient groups help, and what is it?"""

"""Contrastive pairs from several model families, and rubric scores, through the vendors' SDKs.

    config     vendors, models, prices and limits
    plan       which pair is asked of which model
    caller     asking once: journal, budget, client
    quality    what is fit to train on
    review     reading by hand
    judge      rubric scores by a model
    run        all of it into a folder

This spends money: nothing here runs unless it is asked for.
"""

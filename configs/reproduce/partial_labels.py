"""Partial labels over the plane of unreliability Δ and ambiguity γ, on handwritten digits.

    python tools/reproduce.py configs/reproduce/partial_labels.py

Needs nothing: scikit-learn ships the images. Nothing was published for these networks. tools/plot.py plane
draws the plane. The candidate sets of a cell are the same for all seeds.
"""
title = 'Partial labels: unreliability Δ and ambiguity γ'
seeds = [0, 1, 2, 3, 4]

_SETTINGS = 'train_dataloader.dataset.unreliability', 'train_dataloader.dataset.ambiguity'

rows = [
    dict(name=f'Δ = {unreliability}', cells=[
        dict(method=f'γ = {ambiguity}', config='../weak/partial_resnet18-w8_digits.py',
             options=dict(zip(_SETTINGS, (unreliability, ambiguity), strict=True)))
        for ambiguity in (0.1, 0.4, 0.7, 0.9)])
    for unreliability in (0.0, 0.3, 0.6)] + [
    dict(name=f'Δ = {unreliability}, partial-label loss', cells=[
        dict(method=f'γ = {ambiguity}', config='../weak/partial_pll_resnet18-w8_digits.py',
             options=dict(zip(_SETTINGS, (unreliability, ambiguity), strict=True)))
        for ambiguity in (0.1, 0.4, 0.7, 0.9)])
    for unreliability in (0.0, 0.3)]

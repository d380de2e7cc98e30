import multiprocessing

from factories import digits_classifier, run_cfg
from mmengine.config import Config

from wsld_plugin.engine.training import train
from wsld_plugin.engine.workers import settle_workers


def test_no_worker_outlives_a_run(tmp_path):
    cfg = run_cfg(tmp_path, digits_classifier(), epochs=1)
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        loader.update(num_workers=1, persistent_workers=True)
    before = multiprocessing.active_children()
    runner = train(cfg)
    assert multiprocessing.active_children() == before
    assert runner.train_dataloader.persistent_workers


def test_settings_of_workers_go_where_there_are_none():
    plain = dict(batch_size=2, num_workers=0, persistent_workers=True, prefetch_factor=4)
    cfg = Config(dict(train_dataloader=dict(plain), val_dataloader=dict(plain, num_workers=1), test_dataloader=None))
    settle_workers(cfg)
    assert cfg.train_dataloader == dict(batch_size=2, num_workers=0)
    assert cfg.val_dataloader == dict(plain, num_workers=1)
    assert cfg.test_dataloader is None

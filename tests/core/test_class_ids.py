from parity.core.class_ids import voc_palette


def test_the_palette_is_that_of_voc():
    known = [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0], [0, 0, 128]]
    assert voc_palette(5).tolist() == known
    assert voc_palette(256)[[20, 255]].tolist() == [[0, 64, 128], [224, 224, 192]]

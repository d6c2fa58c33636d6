"""IDD, driving scenes of India, with Cityscapes' ids as its tools write them (createLabels.py --id-type csTrainId)."""

from raylab.data import DatasetRow, Files, IdCoding, Layout, Nominal, register_dataset
from raylab.data.classes import CITYSCAPES

register_dataset(
    "idd",
    DatasetRow(
        about="drives in India: leftImg8bit/{split}/<sequence> and gtFine/{split}/<sequence>",
        classes=CITYSCAPES,
        files=(
            Files(
                Layout("leftImg8bit/{split}", "gtFine/{split}", "_leftImg8bit", "_gtFine_labelcsTrainIds"),
                IdCoding(ids=tuple(range(19)), ignored=(255,)),
            ),
        ),
        nominal=Nominal(train_images={"train": 6993}, val_images=981, height=1080, width=1920),
    ),
)

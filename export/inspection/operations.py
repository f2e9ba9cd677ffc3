"""Which operations a stranger's graph may have.

All that is not listed is refused. Those listed compute an answer from their inputs, constants and variables, and do
nothing else: they read and write no file, reach no other process, run no code of another language, and do not end the
server. The reasons given for others are for the person who reads them; they decide nothing.
"""

import re

from tensorflow.python.framework import op_def_registry

_CONTROL = """
    Assert Case Const ControlTrigger DisableCopyOnRead EnsureShape Enter Exit FakeParam Identity IdentityN If LoopCond
    Merge NextIteration NoOp PartitionedCall Placeholder PlaceholderV2 PlaceholderWithDefault PreventGradient
    StatefulPartitionedCall StatelessCase StatelessIf StatelessWhile StopGradient Switch While
"""
_VARIABLES = """
    AssignAddVariableOp AssignSubVariableOp AssignVariableOp IsVariableInitialized ReadVariableOp ResourceGather
    ResourceGatherNd ResourceScatterAdd ResourceScatterUpdate VarHandleOp VarIsInitializedOp VariableShape
"""
_TABLES = """
    AnonymousHashTable AnonymousMutableDenseHashTable AnonymousMutableHashTable HashTable HashTableV2 InitializeTable
    InitializeTableV2 LookupTableExportV2 LookupTableFind LookupTableFindV2 LookupTableImportV2 LookupTableInsertV2
    LookupTableRemoveV2 LookupTableSizeV2 MutableDenseHashTableV2 MutableHashTableV2
"""
_ARITHMETIC = """
    Abs AccumulateNV2 Acos Acosh Add AddN AddV2 Angle ApproximateEqual ArgMax ArgMin Asin Asinh Atan Atan2 Atanh
    BesselI0 BesselI0e BesselI1 BesselI1e Betainc Bitcast BitwiseAnd BitwiseOr BitwiseXor Cast Ceil ClipByValue Complex
    ComplexAbs Conj Cos Cosh Cross Cumprod Cumsum CumulativeLogsumexp Digamma Div DivNoNan Equal Erf Erfc Erfinv Exp
    Expint Expm1 Floor FloorDiv FloorMod Greater GreaterEqual Igamma Igammac Imag Inv Invert IsFinite IsInf IsNan
    LeftShift Less LessEqual Lgamma Log Log1p LogicalAnd LogicalNot LogicalOr Maximum Minimum Mod Mul MulNoNan Ndtri Neg
    NextAfter NotEqual Polygamma PopulationCount Pow Real RealDiv Reciprocal RightShift Rint Round Rsqrt Sigmoid Sign
    Sin Sinh Sqrt Square SquaredDifference Sub Tan Tanh TruncateDiv TruncateMod Xdivy Xlog1py Xlogy Zeta
"""
_REDUCTIONS = """
    All Any Bincount DenseBincount EuclideanNorm HistogramFixedWidth L2Loss Max Mean Min Prod SegmentMax SegmentMaxV2
    SegmentMean SegmentMin SegmentMinV2 SegmentProd SegmentProdV2 SegmentSum SegmentSumV2 Sum UnsortedSegmentMax
    UnsortedSegmentMin UnsortedSegmentProd UnsortedSegmentSum
"""
_ARRAYS = """
    BatchToSpace BatchToSpaceND BroadcastArgs BroadcastTo Bucketize CheckNumerics CheckNumericsV2 Concat ConcatOffset
    ConcatV2 DepthToSpace Diag DiagPart DynamicPartition DynamicStitch ExpandDims Fill Gather GatherNd GatherV2
    InvertPermutation LinSpace ListDiff LowerBound MatrixBandPart MatrixDiag MatrixDiagPart MatrixDiagPartV2
    MatrixDiagPartV3 MatrixDiagV2 MatrixDiagV3 MatrixSetDiag MatrixSetDiagV2 MatrixSetDiagV3 MirrorPad NthElement OneHot
    OnesLike Pack Pad PadV2 ParallelConcat ParallelDynamicStitch Range Rank Reshape Reverse ReverseSequence ReverseV2
    Roll ScatterNd ScatterNdNonAliasingAdd Select SelectV2 Shape ShapeN Size Slice SpaceToBatch SpaceToBatchND
    SpaceToDepth Split SplitV Squeeze StridedSlice TensorScatterAdd TensorScatterMax TensorScatterMin TensorScatterSub
    TensorScatterUpdate TensorStridedSliceUpdate Tile TopK TopKV2 Transpose Unique UniqueV2 UniqueWithCounts
    UniqueWithCountsV2 Unpack UnravelIndex UpperBound Where ZerosLike
"""
_LISTS = """
    EmptyTensorList TensorListConcat TensorListConcatLists TensorListConcatV2 TensorListElementShape
    TensorListFromTensor TensorListGather TensorListGetItem TensorListLength TensorListPopBack TensorListPushBack
    TensorListPushBackBatch TensorListReserve TensorListResize TensorListScatter TensorListScatterIntoExistingList
    TensorListScatterV2 TensorListSetItem TensorListSplit TensorListStack TensorArrayCloseV3 TensorArrayConcatV3
    TensorArrayGatherV3 TensorArrayReadV3 TensorArrayScatterV3 TensorArraySizeV3 TensorArraySplitV3 TensorArrayV3
    TensorArrayWriteV3
"""
_MATRICES = """
    BatchMatMul BatchMatMulV2 BatchMatMulV3 Cholesky ConjugateTranspose Einsum FFT FFT2D FFT3D IFFT IFFT2D IFFT3D IRFFT
    IRFFT2D IRFFT3D LogMatrixDeterminant Lu MatMul MatrixDeterminant MatrixExponential MatrixInverse MatrixSolve
    MatrixSolveLs MatrixSquareRoot MatrixTriangularSolve Qr RFFT RFFT2D RFFT3D SelfAdjointEigV2 Svd TridiagonalSolve
"""
_NETWORKS = """
    ApproxTopK AvgPool AvgPool3D AvgPool3DGrad AvgPoolGrad BiasAdd BiasAddGrad BiasAddV1 BlockLSTM BlockLSTMV2
    BroadcastGradientArgs Conv Conv2D Conv2DBackpropFilter Conv2DBackpropInput Conv3D Conv3DBackpropInputV2
    DepthwiseConv2dNative DepthwiseConv2dNativeBackpropFilter DepthwiseConv2dNativeBackpropInput Dilation2D Elu EluGrad
    FakeQuantWithMinMaxArgs FakeQuantWithMinMaxVars FakeQuantWithMinMaxVarsPerChannel FusedBatchNorm
    FusedBatchNormGradV3 FusedBatchNormV2 FusedBatchNormV3 GRUBlockCell InTopK InTopKV2 LRN LSTMBlockCell LeakyRelu
    LeakyReluGrad LogSoftmax MaxPool MaxPool3D MaxPool3DGrad MaxPoolGrad MaxPoolGradV2 MaxPoolV2 MaxPoolWithArgmax
    MirrorPadGrad QuantizeAndDequantizeV2 QuantizeAndDequantizeV3 QuantizeAndDequantizeV4 Relu Relu6 Relu6Grad ReluGrad
    ResizeBicubicGrad ResizeBilinearGrad ResizeNearestNeighborGrad RsqrtGrad Selu SeluGrad SigmoidGrad Softmax
    SoftmaxCrossEntropyWithLogits Softplus SoftplusGrad Softsign SoftsignGrad SparseSoftmaxCrossEntropyWithLogits
    SqrtGrad StridedSliceGrad TanhGrad ReciprocalGrad InvGrad
"""
_SPARSE = """
    DeserializeSparse RaggedCross RaggedGather RaggedRange RaggedTensorFromVariant RaggedTensorToSparse
    RaggedTensorToTensor RaggedTensorToVariant SparseAdd SparseConcat SparseFillEmptyRows SparseReorder SparseReshape
    SparseSegmentMean SparseSegmentSqrtN SparseSegmentSum SparseSlice SparseSoftmax SparseSplit SparseTensorDenseMatMul
    SparseToDense
"""
_PICTURES = """
    AdjustContrastv2 AdjustHue AdjustSaturation CombinedNonMaxSuppression CropAndResize DecodeAndCropJpeg DecodeBmp
    DecodeGif DecodeImage DecodeJpeg DecodePng EncodeJpeg EncodeJpegVariableQuality EncodePng ExtractImagePatches
    ExtractJpegShape ExtractVolumePatches GenerateBoundingBoxProposals HSVToRGB ImageProjectiveTransformV2
    ImageProjectiveTransformV3 NonMaxSuppression NonMaxSuppressionV2 NonMaxSuppressionV3 NonMaxSuppressionV4
    NonMaxSuppressionV5 NonMaxSuppressionWithOverlaps RGBToHSV ResizeArea ResizeBicubic ResizeBilinear
    ResizeNearestNeighbor ScaleAndTranslate
"""
_STRINGS = """
    AsString DecodeBase64 DecodeCSV DecodePaddedRaw DecodeRaw EncodeBase64 ParseExample ParseExampleV2
    ParseSequenceExampleV2 ParseSingleExample ReduceJoin RegexFullMatch RegexReplace StaticRegexFullMatch
    StaticRegexReplace StringFormat StringJoin StringLength StringLower StringNGrams StringSplit StringSplitV2
    StringStrip StringToHashBucket StringToHashBucketFast StringToHashBucketStrong StringToNumber StringUpper Substr
    UnicodeDecode UnicodeDecodeWithOffsets UnicodeEncode UnicodeScript UnicodeTranscode UnsortedSegmentJoin
"""
_TEXT = """
    CaseFoldUTF8 FastWordpieceTokenizeWithOffsets NormalizeUTF8 NormalizeUTF8WithOffsetsMap
    TFText>FastWordpieceDetokenize
"""
_RANDOM = """
    Multinomial RandomStandardNormal RandomUniform RandomUniformInt StatelessMultinomial StatelessRandomGetAlg
    StatelessRandomGetKeyCounter StatelessRandomGetKeyCounterAlg StatelessRandomNormal StatelessRandomNormalV2
    StatelessRandomUniform StatelessRandomUniformFullInt StatelessRandomUniformFullIntV2 StatelessRandomUniformInt
    StatelessRandomUniformIntV2 StatelessRandomUniformV2 StatelessShuffle StatelessTruncatedNormal
    StatelessTruncatedNormalV2 TruncatedNormal
"""

SAFE = frozenset(
    " ".join(
        (
            *(_CONTROL, _VARIABLES, _TABLES, _ARITHMETIC, _REDUCTIONS, _ARRAYS, _LISTS, _MATRICES, _NETWORKS, _SPARSE),
            *(_PICTURES, _STRINGS, _TEXT, _RANDOM),
        )
    ).split()
)
"""Operations that do nothing but compute their outputs, some of TensorFlow Text's among them."""

CHECKPOINT = frozenset(["MergeV2Checkpoints", "RestoreV2", "SaveV2", "ShardedFilename"])
"""Operations on files that every SavedModel with variables has: see `checkpoint`."""

_REASONS = (
    ("runs Python code", r".*PyFunc.*"),
    ("tells values to whoever the graph names", r"Debug.*|.*Dump.*"),
    ("reads files that the graph names", r"DecodeProtoV2|EncodeProto|ImmutableConst|GenerateVocabRemapping"),
    ("reads or writes a checkpoint that the graph names", r"Save|SaveSlices|Restore|RestoreSlice|LoadAndRemapMatrix"),
    ("fills a table from a file; ours are filled from constants", r"InitializeTableFromTextFile.*"),
    (
        "reads or writes files",
        r".*File.*|.*Reader.*|.*Snapshot.*|.*Record.*|.*Sql.*|.*Lmdb.*|.*BigQuery.*|.*Bigtable.*",
    ),
    ("writes files of events", r".*Summary.*|StatsAggregator.*"),
    ("writes to a log or a file", r"Print.*"),
    (
        "reaches other processes or machines",
        r".*(Rpc|Remote|Send|Recv|Collective|Nccl|DataService|Worker|Distributed).*",
    ),
    ("runs a program that is no TensorFlow graph", r".*Xla.*|.*TPU.*|.*Tpu.*|.*TRT.*|.*Mlir.*|.*HostCompute.*"),
    ("reads data; a server is sent what it answers", r".*Dataset.*|.*Iterator.*"),
    ("ends or halts the server", r"Abort|.*Sleep.*|.*Barrier.*|.*Queue.*|.*Mutex.*|.*Stage.*"),
)


def is_registered(name: str) -> bool:
    """Whether TensorFlow has an operation of that name."""
    return op_def_registry.get(name) is not None


def reason(name: str) -> str:
    """Why an operation that is not among the safe ones is refused."""
    if not is_registered(name):
        return "TensorFlow has no such operation: a library of somebody's own would run"
    for why, pattern in _REASONS:
        if re.fullmatch(pattern, name):
            return why
    return "not among the operations that are known to do nothing but compute"

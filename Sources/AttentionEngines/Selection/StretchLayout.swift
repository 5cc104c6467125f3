import AttentionContract
import AttentionKernels
import CAttentionKernels
import Tensors

/// How rows that keep keys of their own, the same for all heads, are regrouped by stretches of keys, worked
/// out without allocating.
///
/// A stretch fits the first-level cache, and the rows of a chunk fit the second-level cache: every row of the
/// chunk visits the stretch before any goes on to the next.
///
/// Where stretches begin follows from the sizes of rows alone, so that neither the rows beside it nor the
/// number of threads changes a bit of a row.
struct StretchLayout: Sendable {
  let problem: AttentionProblem
  let kernels: KernelTable
  /// Keys of a stretch, and stretches of the longest sequence.
  let stretchKeys: Int
  let stretches: Int
  /// Rows that are selected for before they attend, rows of a chunk, and chunks of them.
  let turnRows: Int
  let chunkRows: Int
  let chunks: Int
  /// Keys that a row keeps at most.
  let most: Int
  /// Heads that meet keys together, and tasks of a sequence's heads.
  let heads: Int
  /// Columns in whole vectors.
  let keyColumns: Int
  let valueColumns: Int
  /// What workers share: who keeps what.
  private(set) var shared = ArenaLayout()
  /// `[b][chunks][stretches][chunkRows]` visits, `[b][chunks][stretches]` how many, and where the places of
  /// their keys begin among `[b][chunks][placeRoom]`.
  let visits: ArenaPart<attn_visit>
  let visitCounts: ArenaPart<Int32>
  let firstPlaces: ArenaPart<Int>
  let places: ArenaPart<UInt8>

  /// Fewer rows of a sequence are not regrouped: keys would be brought for few pairs.
  static let leastRows = 64
  /// Bytes of the keys of a stretch, and of its values: with what passes by they fit a first-level cache.
  private static let stretchBytes = 32 << 10
  /// Elements of queries and outputs of a chunk: half of a second-level cache.
  private static let chunkElements = 1 << 18
  private static let leastChunkRows = 128
  /// Tasks that the stretches of a chunk are regrouped in.
  static let parts = 16
  /// Vectors are written where bytes are counted.
  private static let slack = 64

  /// - Parameter lists: of the selection.
  init(_ layout: KeptKeysLayout, _ lists: SharedLists) {
    let shape = layout.problem.shape
    let lanes = layout.kernels.vectorLanes
    problem = layout.problem
    kernels = layout.kernels
    keyColumns = (shape.headDim + lanes - 1) / lanes * lanes
    valueColumns = (shape.valueDim + lanes - 1) / lanes * lanes
    let fitting = Self.stretchBytes / 4 / max(keyColumns, valueColumns) / 16 * 16
    stretchKeys = min(max(fitting, 16), Int(ATTN_STRETCH_KEYS))
    stretches = (shape.keyLength + stretchKeys - 1) / stretchKeys
    (turnRows, most) = (lists.rows, lists.most)
    heads = min(shape.groupSize, Int(ATTN_KEPT_HEADS))
    let tasks = shape.batch * shape.kvHeads * ((shape.groupSize + heads - 1) / heads)
    var rows = Self.chunkElements / (keyColumns + valueColumns) / heads
    rows = min(max(rows / 16 * 16, Self.leastChunkRows), turnRows)
    while rows > Self.leastChunkRows, tasks * ((turnRows + rows - 1) / rows) < 2 * layout.threads {
      rows = (rows + 1) / 2
    }
    chunkRows = rows
    chunks = (turnRows + chunkRows - 1) / chunkRows
    let count = shape.batch * chunks
    visits = shared.add(count * stretches * chunkRows)
    visitCounts = shared.add(count * stretches)
    firstPlaces = shared.add(count * stretches)
    places = shared.add(count * (chunkRows * most + (Self.parts + 1) * Self.slack))
  }

  private var shape: AttentionShape { problem.shape }

  /// Pairs of a chunk and a stretch at most.
  var mostPairs: Int { chunkRows * min(stretchKeys, most) + Self.slack }

  /// Whether a sequence is regrouped: by its own length, so that it gets the same bits alone as beside longer
  /// ones.
  static func regroups(_ geometry: MaskGeometry) -> Bool { geometry.queryLength >= leastRows }

  /// Where a stretch of a chunk stands.
  func index(_ batch: Int, _ chunk: Int, _ stretch: Int) -> Int {
    (batch * chunks + chunk) * stretches + stretch
  }

  /// Where the places of the keys of a part of a chunk begin.
  func firstPlace(_ batch: Int, _ chunk: Int, part: Int) -> Int {
    (batch * chunks + chunk) * (places.count / (problem.shape.batch * chunks)) + part * Self.slack
  }

  /// Tasks of a sequence's heads.
  var headTasks: Int { shape.kvHeads * headParts }

  private var headParts: Int { (shape.groupSize + heads - 1) / heads }

  /// The heads of a task.
  func heads(_ task: Int) -> Range<Int> {
    let (kvHead, part) = task.quotientAndRemainder(dividingBy: headParts)
    let first = kvHead * shape.groupSize + part * heads
    return first..<min(first + heads, (kvHead + 1) * shape.groupSize)
  }

  /// The rows of a chunk of a turn that a sequence has.
  func rows(_ chunk: Int, of turn: Range<Int>, _ geometry: MaskGeometry) -> Range<Int> {
    let first = turn.lowerBound + chunk * chunkRows
    let end = min(first + chunkRows, turn.upperBound, geometry.queryLength)
    return first..<max(first, end)
  }

  /// Stretches that any of some rows sees a key of.
  func stretches(_ rows: Range<Int>, _ geometry: MaskGeometry) -> Int {
    if rows.isEmpty { return 0 }
    let end = geometry.visible(from: rows.upperBound - 1 + geometry.offset).upperBound
    return (max(end, 0) + stretchKeys - 1) / stretchKeys
  }
}

/// Keys that rows keep, the same for all heads: lists of so many rows at a time, of at most so many keys.
struct SharedLists {
  let rows: Int
  let most: Int
}

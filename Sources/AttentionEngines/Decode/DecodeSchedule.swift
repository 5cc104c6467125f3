import AttentionContract
import AttentionKernels
import Tensors

/// What the rows of a run see: worked out anew for each run without allocating, since a cache grows
/// between runs.
final class DecodeSchedule: Sendable {
  /// The keys of a segment in one run.
  struct Span {
    var keys: KeySequence
    /// Places that any row sees.
    var places: Range<Int>
    /// Rows in use.
    var rows: Range<Int>
    /// Splits that hold some of the places.
    var splits: Range<Int>
  }

  /// A span and one of its splits.
  struct Task {
    let segment: Int
    let span: Span
    let places: Range<Int>
  }

  /// Where its memory lies.
  struct Layout: Sendable {
    private(set) var arena = ArenaLayout()
    fileprivate let segments: Int
    /// `[b][segments]`.
    fileprivate let spans: ArenaPart<Span>
    /// `[b][segments][nQ][2]`: first place a row sees and first place it no longer sees.
    fileprivate let bounds: ArenaPart<Int32>
    /// `[b + 1]` tasks of all batch entries before, all heads together.
    fileprivate let firstTask: ArenaPart<Int>
    /// `[b]` query rows in use and where the first stands.
    fileprivate let geometries: ArenaPart<MaskGeometry>

    init(_ shape: AttentionShape, segments: [[DecodeSegment]]) {
      self.segments = segments.map(\.count).max() ?? 0
      spans = arena.add(shape.batch * self.segments)
      bounds = arena.add(shape.batch * self.segments * shape.queryLength * 2)
      firstTask = arena.add(shape.batch + 1)
      geometries = arena.add(shape.batch)
    }
  }

  private let layout: DecodeLayout
  private let arena: Arena

  init(_ layout: DecodeLayout) throws(AttentionError) {
    self.layout = layout
    arena = try Arena(layout.schedule.arena)
    let empty = Span(keys: KeySequence(0..<0), places: 0..<0, rows: 0..<0, splits: 0..<0)
    spans.initialize(repeating: empty, count: layout.schedule.spans.count)
    geometries.initialize(
      repeating: layout.problem.geometry(batch: 0), count: layout.problem.shape.batch)
  }

  private var segments: Int { layout.schedule.segments }
  private var spans: UnsafeMutablePointer<Span> { arena[layout.schedule.spans] }
  private var firstTask: UnsafeMutablePointer<Int> { arena[layout.schedule.firstTask] }
  private var geometries: UnsafeMutablePointer<MaskGeometry> { arena[layout.schedule.geometries] }

  /// Reads out the patterns for the key lengths of a run.
  func update(_ operands: AttentionOperands) {
    let problem = layout.problem
    for batch in 0..<problem.shape.batch {
      let geometry = problem.geometry(batch: batch, in: operands)
      geometries[batch] = geometry
      var tasks = 0
      for segment in layout.segments[batch].indices {
        let span = read(segment, batch: batch, geometry)
        spans[batch * segments + segment] = span
        tasks += span.splits.count
      }
      // A head whose rows see nothing has an output all the same.
      firstTask[batch + 1] = firstTask[batch] + max(tasks, 1) * problem.shape.kvHeads
    }
  }

  private func read(_ index: Int, batch: Int, _ geometry: MaskGeometry) -> Span {
    let segment = layout.segments[batch][index]
    let pattern = layout.visibility.patterns[batch]
    let rows = segment.rows.clamped(to: 0..<geometry.queryLength)
    let residue = (segment.rows.lowerBound + geometry.offset) % segment.rowStride
    let keys =
      segment.keys
      ?? pattern.sequence(
        segment.sequence, pass: segment.pass,
        residue: residue < 0 ? residue + segment.rowStride : residue)
    let end = keys.places(before: geometry.keyLength)
    let bounds = bounds(segment: index, batch: batch)
    var (first, last) = (end, 0)
    for row in rows {
      let range = pattern.range(
        pass: segment.pass, sequence: segment.sequence, position: row + geometry.offset)
      let (lower, upper) = (min(range.lowerBound, end), min(range.upperBound, end))
      bounds[2 * row] = Int32(lower)
      bounds[2 * row + 1] = Int32(upper)
      if lower < upper {
        first = min(first, lower)
        last = max(last, upper)
      }
    }
    if first >= last { return Span(keys: keys, places: 0..<0, rows: rows, splits: 0..<0) }
    let size = layout.splitKeys
    return Span(
      keys: keys, places: first..<last, rows: rows,
      splits: first / size..<(last + size - 1) / size)
  }

  /// Tasks of all batch entries and heads.
  var taskCount: Int { firstTask[layout.problem.shape.batch] }

  /// Tasks of one head.
  func taskCount(batch: Int) -> Int {
    (firstTask[batch + 1] - firstTask[batch]) / layout.problem.shape.kvHeads
  }

  /// Where a task belongs: the splits of a head follow each other.
  func place(of task: Int) -> (batch: Int, kvHead: Int, task: Int) {
    var (batch, end) = (0, layout.problem.shape.batch)
    while end - batch > 1 {
      let middle = (batch + end) / 2
      if firstTask[middle] <= task { batch = middle } else { end = middle }
    }
    let inner = task - firstTask[batch]
    let tasks = taskCount(batch: batch)
    return (batch, inner / tasks, inner % tasks)
  }

  /// The split behind a task of a head; nil for the task of a head that sees nothing.
  func task(_ index: Int, batch: Int) -> Task? {
    var first = 0
    for segment in layout.segments[batch].indices {
      let span = span(segment: segment, batch: batch)
      if index < first + span.splits.count {
        let split = span.splits.lowerBound + index - first
        let places = split * layout.splitKeys..<(split + 1) * layout.splitKeys
        return Task(segment: segment, span: span, places: places.clamped(to: span.places))
      }
      first += span.splits.count
    }
    return nil
  }

  func span(segment: Int, batch: Int) -> Span { spans[batch * segments + segment] }

  /// `[nQ][2]`.
  func bounds(segment: Int, batch: Int) -> UnsafeMutablePointer<Int32> {
    arena[layout.schedule.bounds]
      + (batch * segments + segment) * layout.problem.shape.queryLength * 2
  }

  func geometry(batch: Int) -> MaskGeometry { geometries[batch] }
}

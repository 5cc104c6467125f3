import AttentionContract
import AttentionKernels
import CAttentionKernels
import Tensors

/// The keys of an index in lanes, as they are scored: panels of all of them, and panels of a sample.
final class IndexKeys: @unchecked Sendable {
  /// One key of so many is in the sample.
  static let sampled = 32

  /// Where its memory lies.
  struct Layout: Sendable {
    private(set) var arena = ArenaLayout()
    fileprivate let all: ArenaPart<Float>
    fileprivate let sample: ArenaPart<Float>
    fileprivate let panelFloats: Int
    /// Panels of a sequence.
    let panels: Int
    let samplePanels: Int

    init(_ selection: IndexSelection, _ shape: AttentionShape, _ kernels: KernelTable) {
      let lanes = kernels.panelLanes
      let samples = (shape.keyLength + IndexKeys.sampled - 1) / IndexKeys.sampled
      panelFloats = selection.columns * lanes
      panels = (shape.keyLength + lanes - 1) / lanes
      samplePanels = (samples + lanes - 1) / lanes
      all = arena.add(shape.batch * panels * panelFloats)
      sample = arena.add(shape.batch * samplePanels * panelFloats)
    }
  }

  private let arena: Arena
  private let layout: Layout
  private let lanes: Int
  private let columns: Int

  init(
    _ selection: IndexSelection, _ shape: AttentionShape, _ kernels: KernelTable
  ) throws(AttentionError) {
    layout = Layout(selection, shape, kernels)
    arena = try Arena(layout.arena, for: "keys of an index")
    lanes = kernels.panelLanes
    columns = selection.columns
  }

  /// `[columns][L]`: keys `index` L and those after it, and of the sample.
  func panel(_ batch: Int, _ index: Int) -> UnsafeMutablePointer<Float> {
    arena[layout.all] + (batch * layout.panels + index) * layout.panelFloats
  }

  func samplePanel(_ batch: Int, _ index: Int) -> UnsafeMutablePointer<Float> {
    arena[layout.sample] + (batch * layout.samplePanels + index) * layout.panelFloats
  }

  /// Puts a key where it belongs.
  func set(_ key: Int, _ batch: Int, _ elements: UnsafePointer<Float>) {
    put(elements, panel(batch, key / lanes) + key % lanes)
    if key % Self.sampled == 0 {
      let place = key / Self.sampled
      put(elements, samplePanel(batch, place / lanes) + place % lanes)
    }
  }

  private func put(_ elements: UnsafePointer<Float>, _ lane: UnsafeMutablePointer<Float>) {
    for column in 0..<columns { lane[column * lanes] = elements[column] }
  }
}

/// The index of the tokens in a cache, which decoding adds to.
///
/// Unchecked: runs of a step only read it.
final class IndexCompanion: CacheCompanion, @unchecked Sendable {
  let declaredOperands: [OperandDeclaration]
  let bytes: Int
  let keys: IndexKeys
  /// Of the step under way.
  private(set) var query: TensorView?
  private(set) var weight: TensorView?
  /// Tokens that it has the keys of, one number a batch entry.
  private var tokens: [Int]

  init(
    _ selection: IndexSelection, _ problem: AttentionProblem, kernels: KernelTable
  ) throws(AttentionError) {
    keys = try IndexKeys(selection, problem.shape, kernels)
    bytes = IndexKeys.Layout(selection, problem.shape, kernels).arena.bytes
    declaredOperands = selection.operands(keyLength: .queryLength)
    tokens = Array(repeating: 0, count: problem.shape.batch)
  }

  func check(_ cache: any KeyValueCache) throws(AttentionError) {
    for entry in tokens.indices where cache.tokens[entry] != tokens[entry] {
      throw AttentionError(
        .invalidArgument, argument: "cache", value: "\(cache.tokens[entry]) tokens",
        advice:
          "the index has the keys of \(tokens[entry]): begin with an empty cache, and let all "
          + "tokens come and go through the decoder")
    }
  }

  func begin(_ inputs: InputViews, cache: any KeyValueCache, counts: [Int]?) {
    guard let key = inputs.named[IndexSelection.key] else { return }
    (query, weight) = (inputs.named[IndexSelection.query], inputs.named[IndexSelection.weight])
    for entry in tokens.indices {
      for row in 0..<(counts?[entry] ?? key.shape.rows) {
        keys.set(tokens[entry], entry, key.row(entry, 0, row))
        tokens[entry] += 1
      }
    }
  }

  func end(attended: Bool) { (query, weight) = (nil, nil) }

  func truncate(entry: Int, to count: Int) { tokens[entry] = min(tokens[entry], count) }
}

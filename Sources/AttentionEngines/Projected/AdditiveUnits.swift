import AttentionContract
import AttentionKernels
import CAttentionKernels
import Tensors

/// How many hidden units additive scores have, and what their kernels hold of a panel and of a key.
struct AdditiveUnits: Sendable {
  let count: Int

  /// The units of a kernel: those behind the last have no weight.
  var whole: Int {
    let step = Int(ATTN_ADDITIVE_UNITS)
    return (count + step - 1) / step * step
  }

  /// Rows of a panel: exponentials, weights, the projected queries, sums of weights and sizes.
  var queryRows: Int { 3 * whole + 2 }

  /// Numbers of a key: exponentials, the projected key and its size.
  var keyColumns: Int { 2 * whole + 1 }

  /// Operations of a pair's score: of four units 8 for denominators, 12 to bring them to a common one, the
  /// division and the sum.
  var flops: Int { whole / 4 * 22 }

  /// Makes keys of projected rows and points the rows at them.
  func makeKeys(
    _ rows: RowPointers, count: Int, into keys: UnsafeMutablePointer<Float>,
    _ functions: UnsafePointer<attn_kernels>
  ) {
    functions.pointee.additive_keys(
      rows.floats, Int32(count), Int32(self.count), Int32(whole), keys)
    for i in 0..<count { rows[i] = UnsafeRawPointer(keys + i * keyColumns) }
  }
}

/// The weights of the hidden units, v of v . tanh(...), a row a query head, as the kernels read them.
///
/// Unchecked: one thread reads them before the workers start.
final class AdditiveWeights: @unchecked Sendable {
  /// Beyond this the kernels take every tanh by itself, since products of weights and denominators could
  /// overflow.
  private static let largest: Float = 0x1p16

  let units: AdditiveUnits
  private let heads: Int
  private let scale: Float
  private let arena: Arena
  /// `[h][whole]`, in log16 units and times -2.
  private let weights: ArenaPart<Float>
  /// `[h][2]` sum in log16 units, and the size that lanes begin with.
  private let sums: ArenaPart<Float>

  private struct Layout {
    var arena = ArenaLayout()
    let weights: ArenaPart<Float>
    let sums: ArenaPart<Float>

    init(_ units: AdditiveUnits, heads: Int) {
      weights = arena.add(heads * units.whole)
      sums = arena.add(heads * 2)
    }
  }

  /// Bytes that they take.
  static func bytes(_ units: AdditiveUnits, heads: Int) -> Int {
    Layout(units, heads: heads).arena.bytes
  }

  /// - Parameter scale: the factor on the scores.
  init(_ units: AdditiveUnits, heads: Int, scale: Float) throws(AttentionError) {
    let layout = Layout(units, heads: heads)
    self.units = units
    self.heads = heads
    self.scale = scale
    arena = try Arena(layout.arena, for: "weights of hidden units")
    (weights, sums) = (layout.weights, layout.sums)
  }

  /// Reads `[1, h, hidden, 1]`.
  func read(_ view: TensorView) {
    for head in 0..<heads {
      let row = arena[weights] + head * units.whole
      var (sum, largest) = (0.0, Float(0))
      for unit in 0..<units.count {
        let weight = view.row(0, head, unit)[0] * scale * .log16e
        row[unit] = -2 * weight
        sum += Double(weight)
        if !(weight.magnitude <= largest) { largest = weight.magnitude }
      }
      arena[sums][2 * head] = Float(sum)
      arena[sums][2 * head + 1] = largest <= Self.largest ? 0 : .infinity
    }
  }

  /// Packs a panel from projected query rows.
  func pack(
    _ rows: PanelRows, _ pointers: RowPointers, lanes: Int,
    into panel: UnsafeMutablePointer<Float>, _ functions: UnsafePointer<attn_kernels>
  ) {
    let whole = units.whole
    let live = Int32(rows.live)
    let queries = panel + 2 * whole * lanes
    functions.pointee.pack(pointers.floats, live, Int32(units.count), 1, queries)
    (queries + units.count * lanes).update(repeating: 0, count: (whole - units.count + 2) * lanes)
    let (totals, sizes) = (queries + whole * lanes, queries + (whole + 1) * lanes)
    rows.forEach { lane, head, _ in
      pointers[lane] = UnsafeRawPointer(arena[weights] + head * whole)
      totals[lane] = arena[sums][2 * head]
      sizes[lane] = arena[sums][2 * head + 1]
    }
    functions.pointee.pack(pointers.floats, live, Int32(whole), 1, panel + whole * lanes)
    functions.pointee.additive_queries(panel, Int32(whole))
  }
}

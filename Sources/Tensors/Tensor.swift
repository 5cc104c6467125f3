#if canImport(Glibc)
  import Glibc
#endif

/// An owner of 64-byte aligned, zero-filled fp32 memory, released when the owner goes away.
public struct AlignedFloats: ~Copyable {
  /// The first element.
  public let base: UnsafeMutablePointer<Float>
  /// How many floats.
  public let count: Int

  /// Allocates `count` zeros.
  ///
  /// - Parameters:
  ///   - purpose: names the memory in an error.
  ///   - touched: whether to make the system back every page now. Otherwise it does so when a page
  ///     is first written, which would fall into the first run of a plan.
  /// - Throws: `AttentionError` of kind `outOfMemory` when the system refuses.
  public init(
    count: Int, for purpose: String = "tensor", touched: Bool = false
  ) throws(AttentionError) {
    // One spare line: calloc aligns to 16 only, and it is calloc that gets fresh pages for free.
    guard count >= 0, count < Int.max / 8,
      let raw = calloc(count * MemoryLayout<Float>.size + 64, 1)
    else {
      throw AttentionError(
        .outOfMemory, argument: purpose, value: "\(count) floats",
        advice: "the system refused the memory; use a smaller problem")
    }
    allocation = raw
    let aligned = (Int(bitPattern: raw) + 63) & ~63
    self.base = raw.advanced(by: aligned - Int(bitPattern: raw))
      .bindMemory(to: Float.self, capacity: count)
    self.count = count
    if touched { memset(raw, 0, count * MemoryLayout<Float>.size + 64) }
  }

  private let allocation: UnsafeMutableRawPointer

  deinit { free(allocation) }
}

/// A tensor `[batch, heads, rows, columns]` that owns its memory.
///
/// A class, so that a tensor can be handed to several plans and threads; the elements may be
/// written only while no plan runs on them.
public final class Tensor: @unchecked Sendable {
  /// `[batch, heads, rows, columns]`.
  public let shape: TensorShape
  /// Order of the outer axes in memory.
  public let layout: TensorLayout
  /// How elements are stored.
  public let elementType: ElementType
  private let memory: AlignedFloats
  /// Floats of the elements; the scales of channels follow.
  private let elementFloats: Int

  /// Allocates a tensor of zeros, fp32 unless said otherwise. Rows follow each other without a gap;
  /// those of `int8PerToken` each with its scale.
  ///
  /// - Throws: `AttentionError` when the system refuses the memory.
  public init(
    _ shape: TensorShape, layout: TensorLayout = .bhnd, elementType: ElementType = .float32
  ) throws(AttentionError) {
    self.shape = shape
    self.layout = layout
    self.elementType = elementType
    let rowBytes = elementType.rowBytes(columns: shape.columns)
    elementFloats = (shape.batch * shape.heads * shape.rows * rowBytes + 3) / 4
    memory = try AlignedFloats(
      count: elementFloats
        + (elementType == .int8PerChannel ? shape.batch * shape.heads * shape.columns : 0))
  }

  /// All elements of an fp32 tensor, in memory order; empty for other element types, see `bytes`.
  public var elements: TensorElements<Float> {
    TensorElements(memory.base, count: elementType == .float32 ? elementFloats : 0, owner: self)
  }

  /// The memory of the elements, in memory order, whatever their type.
  public var bytes: TensorElements<UInt8> {
    let rowBytes = elementType.rowBytes(columns: shape.columns)
    return TensorElements(
      memory.base, count: shape.batch * shape.heads * shape.rows * rowBytes, owner: self)
  }

  /// `[batch, heads, columns]` factors of the columns of an `int8PerChannel` tensor; otherwise
  /// empty.
  public var channelScales: TensorElements<Float> {
    TensorElements(
      memory.base + elementFloats, count: memory.count - elementFloats, owner: self)
  }

  /// A read-only view, which keeps the tensor alive.
  public var view: TensorView {
    TensorView(
      dense: memory.base, elementType, shape: shape, layout: layout,
      channelScales: elementType == .int8PerChannel
        ? UnsafePointer(memory.base + elementFloats) : nil, owner: self)
  }

  /// A writable view, which keeps the tensor alive.
  public var mutableView: MutableTensorView { MutableTensorView(reading: view) }
}

/// Numbers in the memory of a ``Tensor``, which it keeps alive: reading and writing them is safe for
/// as long as it exists.
///
/// Copies share the memory. Loops over very many numbers are fastest in
/// `withUnsafeMutableBufferPointer`.
public struct TensorElements<Element: BitwiseCopyable>: RandomAccessCollection, MutableCollection {
  @usableFromInline let base: UnsafeMutableRawPointer
  @usableFromInline let owner: AnyObject
  public let count: Int

  init(_ base: UnsafeMutableRawPointer, count: Int, owner: AnyObject) {
    self.base = base
    self.count = count
    self.owner = owner
  }

  @inlinable public var startIndex: Int { 0 }
  @inlinable public var endIndex: Int { count }

  @inlinable
  public subscript(index: Int) -> Element {
    get {
      precondition(index >= 0 && index < count, "index out of range")
      return withExtendedLifetime(owner) { pointer[index] }
    }
    nonmutating set {
      precondition(index >= 0 && index < count, "index out of range")
      withExtendedLifetime(owner) { pointer[index] = newValue }
    }
  }

  @inlinable
  var pointer: UnsafeMutablePointer<Element> { base.assumingMemoryBound(to: Element.self) }

  /// Calls `body` with the memory, which must not be used after it returns.
  @inlinable
  public func withUnsafeMutableBufferPointer<Result: ~Copyable, Failure: Error>(
    _ body: (UnsafeMutableBufferPointer<Element>) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    defer { withExtendedLifetime(owner) {} }
    return try body(UnsafeMutableBufferPointer(start: pointer, count: count))
  }

  @inlinable
  public func withContiguousStorageIfAvailable<Result>(
    _ body: (UnsafeBufferPointer<Element>) throws -> Result
  ) rethrows -> Result? {
    try withExtendedLifetime(owner) {
      try body(UnsafeBufferPointer(start: pointer, count: count))
    }
  }

  /// Sets all of them.
  @inlinable
  public func update(repeating value: Element) {
    withUnsafeMutableBufferPointer { $0.update(repeating: value) }
  }

  /// Copies as many as there are in both, from the first on.
  @inlinable
  public func update(from source: some Sequence<Element>) {
    withUnsafeMutableBufferPointer { _ = $0.update(from: source) }
  }
}

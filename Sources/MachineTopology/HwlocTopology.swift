import CHwloc
import Glibc
import SystemPackage

/// Owns one loaded `hwloc_topology_t`.
///
/// Unchecked, because hwloc promises that a topology which nobody modifies may be read, and bound
/// through, by any number of threads; this class never modifies one after loading it.
final class HwlocTopology: @unchecked Sendable {
  let pointer: hwloc_topology_t

  /// Discovers this machine or, for tests, builds what the synthetic description says.
  ///
  /// Binding through a synthetic topology does nothing and reads back as all of its PUs.
  init(synthetic: String? = nil) throws(TopologyError) {
    var created: hwloc_topology_t?
    try checkHwloc("hwloc_topology_init") { hwloc_topology_init(&created) }
    guard let created else { throw .system(call: "hwloc_topology_init", .noMemory) }
    // From here on deinit frees it, also if one of these calls throws.
    pointer = created
    if let synthetic {
      try checkHwloc("hwloc_topology_set_synthetic(\(synthetic))") {
        hwloc_topology_set_synthetic(created, synthetic)
      }
    }
    // Keep what the cpuset forbids, so that "core 5" is the same core with and without it.
    try checkHwloc("hwloc_topology_set_flags") {
      hwloc_topology_set_flags(created, UInt(HWLOC_TOPOLOGY_FLAG_INCLUDE_DISALLOWED.rawValue))
    }
    try checkHwloc("hwloc_topology_load") { hwloc_topology_load(created) }
  }

  deinit { hwloc_topology_destroy(pointer) }

  /// All objects of a type, in logical order.
  func objects(of type: hwloc_obj_type_t) -> [hwloc_obj] {
    var objects: [hwloc_obj] = []
    var object = hwloc_get_next_obj_by_type(pointer, type, nil)
    while let found = object {
      objects.append(found.pointee)
      object = hwloc_get_next_obj_by_type(pointer, type, found)
    }
    return objects
  }

  func bindCurrentThread(to set: CPUSet) throws(TopologyError) {
    let bitmap = try HwlocBitmap(set)
    try checkHwloc("hwloc_set_cpubind(\(set))") {
      hwloc_set_cpubind(pointer, bitmap.pointer, Int32(HWLOC_CPUBIND_THREAD.rawValue))
    }
  }

  /// What the calling thread is bound to; all its cpuset allows if it is not bound.
  func currentThreadBinding() throws(TopologyError) -> CPUSet {
    let bitmap = try HwlocBitmap()
    try checkHwloc("hwloc_get_cpubind") {
      hwloc_get_cpubind(pointer, bitmap.pointer, Int32(HWLOC_CPUBIND_THREAD.rawValue))
    }
    // Unbound may read as "all CPUs there could ever be", an endless set.
    hwloc_bitmap_and(
      bitmap.pointer, bitmap.pointer, hwloc_topology_get_complete_cpuset(pointer))
    return CPUSet(bitmap.pointer)
  }

  /// Binds any thread of this process by its kernel number; does nothing if it has ended.
  func bindThread(_ thread: pid_t, to set: CPUSet) throws(TopologyError) {
    if thread == attn_gettid() { return try bindCurrentThread(to: set) }
    guard attn_thread_is_alive(thread) != 0 else { return }
    let bitmap = try HwlocBitmap(set)
    try checkHwloc("hwloc_linux_set_tid_cpubind(\(set))") {
      hwloc_linux_set_tid_cpubind(pointer, thread, bitmap.pointer)
    }
  }
}

/// Owns one `hwloc_bitmap_t`.
struct HwlocBitmap: ~Copyable {
  let pointer: hwloc_bitmap_t

  init(_ set: CPUSet = CPUSet()) throws(TopologyError) {
    guard let allocated = hwloc_bitmap_alloc() else {
      throw .system(call: "hwloc_bitmap_alloc", .noMemory)
    }
    for index in set.indices {
      guard hwloc_bitmap_set(allocated, UInt32(index)) == 0 else {
        hwloc_bitmap_free(allocated)
        throw .system(call: "hwloc_bitmap_set", .noMemory)
      }
    }
    pointer = allocated
  }

  deinit { hwloc_bitmap_free(pointer) }
}

extension CPUSet {
  /// - Precondition: the bitmap is finite, as every set in a loaded topology is.
  init(_ bitmap: hwloc_const_bitmap_t?) {
    self.init()
    guard let bitmap else { return }
    var index = hwloc_bitmap_next(bitmap, -1)
    while index >= 0 {
      insert(Int(index))
      index = hwloc_bitmap_next(bitmap, index)
    }
  }
}

/// Runs a call which returns -1 and sets errno when it fails.
///
/// Not inlined, so that no reference counting comes between the call and the reading of errno.
@inline(never)
private func checkHwloc(
  _ call: @autoclosure () -> String, _ body: () -> Int32
) throws(TopologyError) {
  let result = body()
  let code = errno
  guard result == 0 else { throw .system(call: call(), Errno(rawValue: code)) }
}

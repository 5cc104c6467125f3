import MachineTopology
import Testing

@Suite struct ProcessorFeaturesTests {
  @Test func `vendor and flags are read from the first processor`() {
    let text = """
      processor\t: 0
      vendor_id\t: GenuineIntel
      model name\t: INTEL(R) XEON(R) PLATINUM 8581C CPU @ 2.10GHz
      flags\t\t: fpu sse2 avx2 fma avx512f avx512_bf16

      processor\t: 1
      vendor_id\t: Somebody
      flags\t\t: fpu
      """
    let features = ProcessorFeatures(cpuinfo: text)
    #expect(features.vendor == "GenuineIntel")
    #expect(features.flags == ["fpu", "sse2", "avx2", "fma", "avx512f", "avx512_bf16"])
  }

  @Test func `Arm has features and no vendor`() {
    let features = ProcessorFeatures(
      cpuinfo: "processor\t: 0\nFeatures\t: fp asimd sve\nCPU implementer\t: 0x41\n")
    #expect(features == ProcessorFeatures(vendor: nil, flags: ["fp", "asimd", "sve"]))
  }

  @Test(arguments: ["", "\n\n", ":", "flags", "flags :", "vendor_id\t:\n"])
  func `nothing is made of nothing`(text: String) {
    #expect(ProcessorFeatures(cpuinfo: text) == ProcessorFeatures(vendor: nil, flags: []))
  }

  @Test func `this machine tells something, unless it has no proc`() {
    let features = ProcessorFeatures.current()
    #if arch(x86_64)
      #expect(features.flags.contains("sse2"))
    #endif
    let none = ProcessorFeatures.current(files: SystemFiles(root: "/does/not/exist"))
    #expect(none.flags.isEmpty)
  }
}

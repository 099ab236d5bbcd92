/* The program that firmware starts from a unified kernel image: it starts the kernel that lies beside it.
 *
 * Kernel, command line and initial ramdisk are sections of the same file (UAPI.5), so they are in memory already. The
 * kernel is started as any program of UEFI is (UEFI 2.10, 7.4), which also checks its signature where Secure Boot is on;
 * it asks for its initial ramdisk by the protocol LoadFile2 (Linux' Documentation/arch/x86/boot.rst and efi-stub.rst).
 * Nothing here has an address of its own: the code runs wherever it is loaded, without relocations.
 */

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

#define EFI __attribute__((ms_abi))
#define MOST_CMDLINE 8192 /* bytes */
#define LOADER_DATA 2 /* a kind of memory */

enum {
	EFI_ERROR = 1ull << 63,
	EFI_LOAD_ERROR = EFI_ERROR | 1,
	EFI_INVALID_PARAMETER = EFI_ERROR | 2,
	EFI_UNSUPPORTED = EFI_ERROR | 3,
	EFI_BUFFER_TOO_SMALL = EFI_ERROR | 5,
};

typedef struct {
	u32 a;
	u16 b, c;
	u8 d[8];
} guid;

typedef struct output {
	void *reset;
	u64 EFI (*string)(struct output *, const u16 *);
} output;

typedef struct {
	u8 header[24];
	void *before[5]; /* task priorities, pages, the memory map */
	u64 EFI (*allocate_pool)(u32 type, u64 size, void **buffer);
	void *to_install[10]; /* the pool, events, one protocol */
	u64 EFI (*handle_protocol)(void *handle, const guid *, void **interface);
	void *to_load[5];
	u64 EFI (*load_image)(u8 policy, void *parent, void *path, const void *source, u64 size, void **handle);
	u64 EFI (*start_image)(void *handle, u64 *size, u16 **data);
	void *to_multiple[14];
	u64 EFI (*install)(void **handle, ...);
} boot_services;

typedef struct {
	u8 header[24];
	u16 *vendor;
	u32 revision;
	void *console_in_handle, *console_in, *console_out_handle;
	output *console_out;
	void *error_handle, *error, *runtime;
	boot_services *boot;
} system_table;

typedef struct {
	u32 revision;
	void *parent;
	system_table *system;
	void *device, *path, *reserved;
	u32 options_bytes;
	void *options;
	u8 *base;
	u64 size;
} loaded_image;

typedef struct section {
	char name[8];
	u32 size, address, file_size, file_place, unused[3], flags;
} section;

typedef struct load_file {
	u64 EFI (*load)(struct load_file *, void *path, u8 policy, u64 *size, void *buffer);
	const u8 *data;
	u64 size;
} load_file;

static const guid LOADED_IMAGE = {0x5b1b31a1, 0x9562, 0x11d2, {0x8e, 0x3f, 0, 0xa0, 0xc9, 0x69, 0x72, 0x3b}};
static const guid DEVICE_PATH = {0x09576e91, 0x6d3f, 0x11d2, {0x8e, 0x39, 0, 0xa0, 0xc9, 0x69, 0x72, 0x3b}};
static const guid LOAD_FILE_2 = {0x4006c0c1, 0xfcb3, 0x403e, {0x99, 0x6d, 0x4a, 0x6c, 0x87, 0x24, 0xe0, 0x6d}};

/* What Linux looks for: a path of one node, "media, vendor" with the GUID LINUX_EFI_INITRD_MEDIA, and its end. */
static const struct {
	u8 type, kind;
	u16 size;
	guid vendor;
	u8 end[4];
} INITRD_PATH = {
	4, 3, 20, {0x5568e427, 0x68fc, 0x4f3d, {0xac, 0x74, 0xca, 0x55, 0x52, 0x31, 0xcc, 0x68}}, {0x7f, 0xff, 4, 0},
};

static u64 EFI load_initrd(load_file *self, void *path, u8 policy, u64 *size, void *buffer)
{
	if (!self || !path || !size)
		return EFI_INVALID_PARAMETER;
	if (policy)
		return EFI_UNSUPPORTED;
	u64 room = *size, left = *size = self->size;
	if (!buffer || room < left)
		return EFI_BUFFER_TOO_SMALL;
	const u8 *from = self->data;
	__asm__ volatile("rep movsb" : "+D"(buffer), "+S"(from), "+c"(left) : : "memory");
	return 0;
}

static const section *find(const u8 *base, u64 name)
{
	const u8 *header = base + *(const u32 *)(base + 60);
	u32 count = *(const u16 *)(header + 6);
	const section *each = (const section *)(header + 24 + *(const u16 *)(header + 20));
	for (; count; count--, each++)
		if (*(const u64 *)each->name == name)
			return each;
	return 0;
}

#define NAME(a, b, c, d, e, f, g, h)                                                                                   \
	((u64)(a) | (u64)(b) << 8 | (u64)(c) << 16 | (u64)(d) << 24 | (u64)(e) << 32 | (u64)(f) << 40 |                \
	 (u64)(g) << 48 | (u64)(h) << 56)

static u64 start(void *self, system_table *system)
{
	boot_services *boot = system->boot;
	loaded_image *image;
	u64 status = boot->handle_protocol(self, &LOADED_IMAGE, (void **)&image);
	if (status)
		return status;
	const section *kernel = find(image->base, NAME('.', 'l', 'i', 'n', 'u', 'x', 0, 0));
	const section *words = find(image->base, NAME('.', 'c', 'm', 'd', 'l', 'i', 'n', 'e'));
	const section *initrd = find(image->base, NAME('.', 'i', 'n', 'i', 't', 'r', 'd', 0));
	u32 length = words ? words->size : 0;
	if (!kernel || length > MOST_CMDLINE)
		return EFI_LOAD_ERROR;
	u16 *options;
	if ((status = boot->allocate_pool(LOADER_DATA, 2 * length + 2, (void **)&options)))
		return status;
	for (u32 place = 0; place < length; place++)
		options[place] = image->base[words->address + place];
	options[length] = 0;
	load_file file = {load_initrd, 0, 0};
	void *handle = 0;
	if (initrd) {
		file.data = image->base + initrd->address;
		file.size = initrd->size;
		if ((status = boot->install(&handle, &DEVICE_PATH, &INITRD_PATH, &LOAD_FILE_2, &file, (void *)0)))
			return status;
	}
	void *linux_image;
	if ((status = boot->load_image(0, self, 0, image->base + kernel->address, kernel->size, &linux_image)))
		return status;
	loaded_image *loaded;
	if ((status = boot->handle_protocol(linux_image, &LOADED_IMAGE, (void **)&loaded)))
		return status;
	loaded->options = options;
	loaded->options_bytes = 2 * length + 2;
	return boot->start_image(linux_image, 0, 0);
}

/* The first byte of the file: where the firmware begins. */
__attribute__((section(".text.unlikely"), used)) u64 EFI _start(void *self, system_table *system)
{
	static const u16 FAILED[] = u"imagebuilder: UEFI does not start the kernel\r\n";
	u64 status = start(self, system);
	system->console_out->string(system->console_out, FAILED);
	return status;
}
